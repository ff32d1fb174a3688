"""The training loop, checkpoints, and the two things it is used for: pretraining and finetuning."""
