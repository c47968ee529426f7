"""Control laws, each written anew from its project's published one, with its published defaults."""
