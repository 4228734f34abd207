"""Online selection inside the training loops of other libraries; each module is imported alone."""
