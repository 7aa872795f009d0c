"""Plans, sweeps, sensitivities and inverse questions: what many evaluations of one compiled variant answer."""
