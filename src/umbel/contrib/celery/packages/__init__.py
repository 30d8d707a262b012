"""On ``sys.path`` after ``install_as_celery()``: the packages under Celery's names."""
