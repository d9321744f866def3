package supervisor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// spawner starts child processes from one operating system thread that lives as long as the supervisor. The kernel
// ends a child when the thread that started it ends, and Go's other threads come and go.
type spawner chan func()

func newSpawner() spawner {
	work := make(spawner)
	go func() {
		runtime.LockOSThread()
		for task := range work {
			task()
		}
	}()
	return work
}

// child is one component of the control plane.
type child struct {
	name    string
	process *os.Process
	logPath string
	// exited is closed when the process is gone; state says how, afterwards.
	exited chan struct{}
	state  *os.ProcessState
}

// start runs this same binary under the name of a component.
func (s spawner) start(directory *directory, name string, arguments []string, environment ...string) (*child, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	logPath := directory.file(name + ".log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := &exec.Cmd{
		Path:        executable,
		Args:        append([]string{name}, arguments...),
		Dir:         directory.path,
		Env:         append(os.Environ(), environment...),
		Stdout:      log,
		Stderr:      log,
		SysProcAttr: childAttributes(),
	}
	started := make(chan error)
	s <- func() { started <- command.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	child := &child{name: name, process: command.Process, logPath: logPath, exited: make(chan struct{})}
	go func() {
		_ = command.Wait()
		child.state = command.ProcessState
		close(child.exited)
	}()
	return child, nil
}

// kill ends the process at once: on SIGTERM the API server would first drain for a minute.
func (c *child) kill() {
	_ = c.process.Kill()
	<-c.exited
}

// failure describes an exit that nobody asked for, with the last lines of the component's log.
func (c *child) failure() error {
	tail := logTail(c.logPath, 25)
	err := fmt.Errorf("%s ended by itself (%s); the last lines of its log:\n%s", c.name, c.state, tail)
	if strings.Contains(tail, "address already in use") {
		return fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return err
}

// logTail reads the last lines of a file.
func logTail(path string, lines int) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	const most = 64 << 10
	if information, err := file.Stat(); err == nil && information.Size() > most {
		_, _ = file.Seek(-most, io.SeekEnd)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}
