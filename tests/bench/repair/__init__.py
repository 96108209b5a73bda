"""Review and fix on HumanEvalFix: functions with one bug each, judged by execution."""
