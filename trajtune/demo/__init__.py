"""The demo: a pretrained agent meets held-out tasks. Everything it shows is computed while it runs."""
