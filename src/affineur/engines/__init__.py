"""One file per engine: what it runs, how it loads a model, what is known of the model, how it exports one."""
