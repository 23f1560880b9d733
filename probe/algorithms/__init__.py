"""What to do with any symmetric operator: eigenvalues, counts, densities, traces. No model is known here."""
