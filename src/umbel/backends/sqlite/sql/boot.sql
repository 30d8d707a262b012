-- Which boot of the machine the steady instants in this file belong to.
SELECT value FROM meta WHERE key = 'boot'
