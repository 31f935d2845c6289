"""What a person sees of a training: its progress and its curves."""

from training.view.plot import write_loss_plot
from training.view.progress import ProgressCallback

__all__ = ["ProgressCallback", "write_loss_plot"]
