"""The operator's hands: everything that talks to the API server or to a pod. No decisions here."""
