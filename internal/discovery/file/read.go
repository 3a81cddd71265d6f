package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/skep/skep/internal/discovery"
)

const (
	// maxSize is the size in bytes up to which a file is read.
	maxSize = 1 << 20
	// maxReported is how many bad lines one error tells in full.
	maxReported = 10
)

// list is what a file says.
type list struct {
	entries discovery.Entries
	empty   bool // not even a comment is in it
}

// read returns what the good lines say, an error about the bad ones, and an
// error if there was nothing to read.
func read(path string) (l list, bad, err error) {
	text, err := readText(path)
	if err != nil {
		// The path is in the caller's sentence.
		if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return list{}, nil, err
	}
	entries, bad := parse(text)
	return list{entries: entries, empty: len(bytes.TrimSpace(text)) == 0}, bad, nil
}

func readText(path string) ([]byte, error) {
	// Opening a pipe would wait for its writer, for ever.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSize {
		return nil, fmt.Errorf("larger than %d bytes", maxSize)
	}
	return text, nil
}

// parse reads one address or range a line. What follows a # is a comment.
func parse(text []byte) (entries discovery.Entries, bad error) {
	var (
		b        discovery.Builder
		problems []string
		more     int
		number   int
	)
	for line := range strings.Lines(string(text)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := b.Add(line); err == nil {
			continue
		} else if len(problems) < maxReported {
			problems = append(problems, fmt.Sprintf("line %d: %v", number, err))
		} else {
			more++
		}
	}
	if more > 0 {
		problems = append(problems, fmt.Sprintf("and %d more lines", more))
	}
	if len(problems) > 0 {
		bad = errors.New(strings.Join(problems, "; "))
	}
	return b.Entries(), bad
}
