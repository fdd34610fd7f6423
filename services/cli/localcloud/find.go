package localcloud

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Find looks for a program that comes with the cloud: where the variable says, beside
// our own program, in ./.bin, in PATH.
func Find(name, variable string) (string, error) {
	if variable != "" {
		if path := os.Getenv(variable); path != "" {
			return path, runnable(path)
		}
	}
	var places []string
	if own, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(own); err == nil {
			own = real
		}
		places = append(places, filepath.Join(filepath.Dir(own), name))
	}
	for _, path := range append(places, filepath.Join(".bin", name)) {
		if runnable(path) == nil {
			return filepath.Abs(path)
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("the program %s is not there, neither beside this one nor in PATH: `make build` makes it", name)
}

func runnable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is no program", path)
	}
	return nil
}
