// Package jsonlines answers lines of JSON on standard input with lines of JSON on standard output, in the same order.
package jsonlines

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
)

// Failure is the answer to a line that could not be handled.
type Failure struct {
	// Error says why, for a person.
	Error string `json:"error"`
}

// Reader reads lines of any length.
type Reader struct {
	buffer *bufio.Reader
}

// NewReader reads lines from a stream.
func NewReader(stream io.Reader) *Reader {
	return &Reader{buffer: bufio.NewReaderSize(stream, 1<<20)}
}

// Next returns the next line that is not blank, or io.EOF.
func (r *Reader) Next() ([]byte, error) {
	for {
		line, err := r.buffer.ReadBytes('\n')
		if len(strings.TrimSpace(string(line))) > 0 {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Answer runs `handle` for every line on all cores, and writes what it returns in the order of the lines.
func Answer(lines *Reader, output io.Writer, handle func(line []byte) any) error {
	workers := runtime.GOMAXPROCS(0)
	type job struct {
		line   []byte
		answer chan []byte
	}
	work := make(chan job)
	// Its capacity bounds how far reading runs ahead of writing.
	order := make(chan job, 64*workers)
	for range workers {
		go func() {
			for job := range work {
				job.answer <- encode(handle(job.line))
			}
		}()
	}
	written := make(chan error, 1)
	go func() {
		buffer := bufio.NewWriterSize(output, 1<<20)
		for job := range order {
			_, err := buffer.Write(<-job.answer)
			// A caller who asks one question at a time waits for the answer; one who asks many does not.
			if err == nil && len(order) == 0 {
				err = buffer.Flush()
			}
			if err != nil {
				written <- err
				return
			}
		}
		written <- buffer.Flush()
	}()
	defer close(work)
	for {
		line, err := lines.Next()
		if err != nil {
			close(order)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, <-written)
		}
		job := job{line: line, answer: make(chan []byte, 1)}
		select {
		case order <- job:
		case err := <-written:
			return err
		}
		work <- job
	}
}

// encode makes a line of an answer.
func encode(answer any) []byte {
	line, err := json.Marshal(answer)
	if err != nil {
		line, _ = json.Marshal(Failure{Error: fmt.Sprintf("cannot write the answer: %v", err)})
	}
	return append(line, '\n')
}

// Write writes a single answer.
func Write(output io.Writer, answer any) error {
	_, err := output.Write(encode(answer))
	return err
}
