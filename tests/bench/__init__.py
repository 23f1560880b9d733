"""What things cost: measured and printed, never asserted, since a busy machine is no defect."""
