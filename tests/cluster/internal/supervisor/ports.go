package supervisor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// errPortTaken says that a component could not listen on the port chosen for it.
var errPortTaken = errors.New("a port was taken by another process")

// Ports are chosen below the range from which systems pick the local ports of outgoing connections, since those come
// and go all the time.
const (
	lowestPort  = 16000
	highestPort = 32000
)

// freePort finds a port of 127.0.0.1 that nobody listens on at this moment.
func freePort() (int, error) {
	const attempts = 1000
	for range attempts {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			listener.Close()
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 between %d and %d", lowestPort, highestPort)
}
