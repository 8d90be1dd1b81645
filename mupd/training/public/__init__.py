"""Training data from the public sets: HER2ST, TCGA, and H&E tiles of several sources."""
