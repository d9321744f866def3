package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	directoryPrefix = "run-"
	lockName        = "lock"
)

// directory holds everything that one control plane writes. Its lock file stays locked for as long as the supervisor
// lives, whatever kills it, and so tells a directory in use from one that was left behind.
type directory struct {
	path string
	lock *os.File
}

func defaultBaseDirectory() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("immutable-operator-control-planes-%d", os.Getuid()))
}

// newDirectory makes a directory for this process and removes those whose process is gone.
func newDirectory(base string) (*directory, error) {
	base, err := filepath.Abs(base)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("the base directory: %w", err)
	}
	// Held while directories are made and removed, so that nobody sees one that is not locked yet.
	guard, err := lockFile(filepath.Join(base, lockName), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	removeStale(base)
	path, err := os.MkdirTemp(base, fmt.Sprintf("%s%d-", directoryPrefix, os.Getpid()))
	if err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(path, lockName), syscall.LOCK_EX)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return &directory{path: path, lock: lock}, nil
}

// lockFile opens and locks a file. Closing it, or the end of the process, unlocks it: children do not inherit it.
func lockFile(path string, how int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), how); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}

// removeStale removes the directories that nobody holds the lock of. A failure is not this control plane's problem.
func removeStale(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), directoryPrefix) {
			continue
		}
		path := filepath.Join(base, entry.Name())
		lock, err := lockFile(filepath.Join(path, lockName), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(path)
		lock.Close()
	}
}

func (d *directory) file(name string) string {
	return filepath.Join(d.path, name)
}

// empty removes everything but the lock.
func (d *directory) empty() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(d.file(entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the directory, again for a while when a process that was just killed still wrote into it.
func (d *directory) remove() {
	for attempt := 0; attempt < 20; attempt++ {
		if os.RemoveAll(d.path) == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	d.lock.Close()
}
