"""What convergence.py is made of: its rows of dialogues, and the comparison of gradients."""
