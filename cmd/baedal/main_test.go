package main

import (
	"os"
	"strings"
	"testing"
)

// asProgram makes the test's own program be baedal.
const asProgram = "BAEDAL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	for _, one := range os.Environ() { // what a test wants it says
		if name, _, _ := strings.Cut(one, "="); strings.HasPrefix(name, "BAEDAL_") && !strings.HasPrefix(name, "BAEDAL_TEST_") {
			os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}
