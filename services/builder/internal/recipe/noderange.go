package recipe

import (
	"fmt"

	"github.com/Masterminds/semver/v3"
)

// inNodeRange says whether a version is in a range as npm writes them ("^20 || >=22").
func inNodeRange(version, wanted string) (bool, error) {
	have, err := semver.NewVersion(version)
	if err != nil {
		return false, fmt.Errorf("%q is no version: %w", version, err)
	}
	if wanted == "" {
		return true, nil
	}
	within, err := semver.NewConstraint(wanted)
	if err != nil {
		return false, fmt.Errorf("%q is no range of versions: %w", wanted, err)
	}
	return within.Check(have), nil
}
