package inbox_test

func runCrashingChild() {}
