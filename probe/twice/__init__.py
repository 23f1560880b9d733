"""Functions that are differentiated twice at a fraction of what PyTorch takes for it."""
