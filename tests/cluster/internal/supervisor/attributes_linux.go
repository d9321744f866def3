package supervisor

import "syscall"

// childAttributes lets the kernel kill the children with the supervisor, whatever kills that, and keeps Ctrl-C in a
// terminal from reaching them: the supervisor ends them.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
