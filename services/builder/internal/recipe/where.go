package recipe

import (
	"errors"
	"fmt"
)

// at puts the place before a Problem's sentence, unless it has one.
func at(file string, line int, err error) error {
	var p *Problem
	if !errors.As(err, &p) || p.Detail != "" {
		return err
	}
	place := fmt.Sprintf("%s line %d", file, line)
	if line == 0 {
		place = file
	}
	return &Problem{Reason: place + ": " + p.Reason, Detail: place}
}
