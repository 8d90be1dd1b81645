"""What makes models: ``mupd train``.

``run`` goes through the parts of a model. ``plan`` is the configuration, with its sections in ``settings``.

Data: ``data`` joins the two sources of a plan, ``public/`` (HER2ST, TCGA, tiles) and ``cohort/`` (a user's own cases).
Both give batches of one form (``batches``), made with ``tokens`` and ``augment``; ``cache`` keeps slow results.

Networks: ``codecs``, ``autoencoder`` (with ``crops``) and ``trunk`` (with ``align``) have the losses. ``loop``
optimises them, with ``checkpoint``, ``logs``, ``preview`` and ``processes``.

Afterwards ``describe`` (with ``organs``) writes what the model folder states, and ``calibrate/`` its probabilities.
``stain/`` trains virtual stainers by the same loop.
"""
