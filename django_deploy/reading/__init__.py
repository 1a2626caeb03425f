"""How an entry of ``settings.DEPLOY_TARGETS`` becomes a ``Target``; ``keys`` has them all."""
