"Deep image clustering in notebooks: decoupled contrastive learning with multi-crop views and attention (DCACN)."

__version__ = "0.1.0"
