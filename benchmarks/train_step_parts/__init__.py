"""What train_step.py is made of: the work, the stacks that do it, their processes, and the table of what they took."""
