"""Ollama's API in terms of OpenAI's: requests on their way in, answers on their way out. Pure."""
