// Package lines reads what processes write, line by line.
package lines

import (
	"bufio"
	"errors"
	"io"
)

// Each calls take with each line until the end of what is read. Lines of more than
// maximum bytes are cut. A line is take's only until it returns.
func Each(from io.Reader, maximum int, take func(line []byte)) {
	reader := bufio.NewReaderSize(from, maximum)
	for {
		line, err := reader.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			line = append(append([]byte{}, line...), "… (cut)"...)
			err = skip(reader)
		}
		if len(line) > 0 {
			take(line)
		}
		if err != nil {
			return
		}
	}
}

func skip(reader *bufio.Reader) error {
	for {
		_, err := reader.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
