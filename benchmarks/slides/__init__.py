"""What intake makes of real H&E, of other pictures and of H&E that was spoilt on purpose; what it costs."""
