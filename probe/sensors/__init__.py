"""What is measured, and when: one file a sensor, each within the budget and on its own account."""
