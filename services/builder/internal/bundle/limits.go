package bundle

import "fmt"

// Limits bound an upload. Every one is checked while the bytes come, not after.
type Limits struct {
	Files     int   `koanf:"files" help:"files in a bundle"`
	FileBytes int64 `koanf:"file_bytes" help:"bytes in one file"`
	Bytes     int64 `koanf:"bytes" help:"bytes in all files together"`
	Depth     int   `koanf:"depth" help:"folders above a file, and itself"`
	PathBytes int   `koanf:"path_bytes" help:"bytes in a path"`
	NameBytes int   `koanf:"name_bytes" help:"bytes between two slashes"`
}

// DefaultLimits take in what the public command line can reasonably send.
func DefaultLimits() Limits {
	return Limits{Files: 5000, FileBytes: 128 << 20, Bytes: 256 << 20, Depth: 32, PathBytes: 1024, NameBytes: 255}
}

// Validate says which bound is missing.
func (l Limits) Validate() error {
	if l.Files <= 0 || l.FileBytes <= 0 || l.Bytes <= 0 || l.Depth <= 0 || l.PathBytes <= 0 || l.NameBytes <= 0 {
		return fmt.Errorf("each of the bundle limits must be above zero; they are %+v", l)
	}
	return nil
}
