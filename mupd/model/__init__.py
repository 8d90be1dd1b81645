"""The MuPD model: H&E autoencoder, conditional transformers, codecs and the pipeline that joins them."""
