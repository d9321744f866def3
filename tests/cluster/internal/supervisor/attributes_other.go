//go:build !linux

package supervisor

import "syscall"

// childAttributes keeps Ctrl-C in a terminal from reaching the children: the supervisor ends them. Only Linux can tie
// their life to the supervisor's; elsewhere a supervisor that is killed with SIGKILL leaves them running.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
