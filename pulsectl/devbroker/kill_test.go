package devbroker_test

const childDataDir = "DEVBROKER_TEST_CHILD_DATA"

func runChild(dir string) {}
