// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/errs/wire"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
)

// inherited are the descriptors that the front end handed over; see the
// drawing in monitor/launch.go. Every one is close-on-exec from here on: the
// container must not even see the lock.
type inherited struct {
	hold   rundir.Hold
	config *os.File
	answer *os.File
	proc   *os.File // /proc of the front end's pid namespace; may be nil
	attach *os.File // may be nil
}

// inherit reads monitor.EnvFDs and removes it from the environment.
func inherit() (*inherited, error) {
	text := os.Getenv(monitor.EnvFDs)
	if text == "" {
		return nil, errs.New(errs.Invalid, "%s is started by proa, not by hand", monitor.Program)
	}
	_ = os.Unsetenv(monitor.EnvFDs)
	in := &inherited{}
	byName := map[string]**os.File{
		"lock": &in.hold.Run, "datalock": &in.hold.Data, "config": &in.config, "answer": &in.answer, "proc": &in.proc,
		"attach": &in.attach,
	}
	for _, item := range strings.Split(text, ",") {
		name, num, _ := strings.Cut(item, "=")
		fd, err := strconv.Atoi(num)
		slot, ok := byName[name]
		if err != nil || !ok || fd < 3 {
			return nil, errs.New(errs.Invalid, "%s: cannot read %q", monitor.EnvFDs, item)
		}
		unix.CloseOnExec(fd)
		*slot = os.NewFile(uintptr(fd), name)
	}
	if in.hold.Run == nil || in.config == nil || in.answer == nil {
		return nil, errs.New(errs.Invalid, "%s: a descriptor is missing", monitor.EnvFDs)
	}
	return in, nil
}

// readConfig waits for the configuration. io.EOF means that the front end
// changed its mind, or died.
func (in *inherited) readConfig() (*monitor.Config, error) {
	data, err := io.ReadAll(in.config)
	in.config.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if len(data) == 0 {
		return nil, io.EOF
	}
	c := &monitor.Config{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, errs.New(errs.Corrupt, "cannot read the configuration: %w", err)
	}
	return c, nil
}

// frontEndGone reports whether nobody reads the answer any more.
func (in *inherited) frontEndGone() bool {
	p := []unix.PollFd{{Fd: int32(in.answer.Fd())}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLERR != 0
}

// reply sends the answer and closes the pipe. It fails when the front end has
// gone.
func (in *inherited) reply(st *monitor.Status, err error) error {
	defer in.answer.Close()
	v := monitor.LaunchReply{Status: st, Error: wire.New(err)}
	werr := json.NewEncoder(in.answer).Encode(v)
	if errors.Is(werr, syscall.EPIPE) {
		return errs.New(errs.Canceled, "the front end has gone")
	}
	return werr
}
