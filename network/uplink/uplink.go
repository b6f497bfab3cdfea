// SPDX-License-Identifier: Apache-2.0

// Package uplink keeps the one network namespace that all bridges of a user
// lie in, and the one process that connects it with the world. Nobody counts
// references: the kernel does.
//
//	StateDir/uplink.lock   flock: who looks, starts or repairs
//	StateDir/uplink.json   pid of the process, where it holds the namespace
//	StateDir/uplink.fifo   each user of the uplink holds the write end open and
//	                       locked shared; the process holds the read end
//	StateDir/uplink.log    what the process last said
//
//	front end (Ensure)                     uplink process (Main)
//	  flock uplink.lock
//	  open fifo: a reader, and somebody
//	  else's lock on it? then it is alive
//	  else: fork, exec ------------------>   [3 fifo, 4 ready, 5 old namespace]
//	                                         namespace, forwarding, packet filter
//	  {"netnsFd":..} <--------------------   exec slirp4netns
//	  "1" <-------------------------------   tap is up
//	  write uplink.json, unlock
//	  ... the monitor joins (Join) ...
//	  close fifo                             ends when the last writer has closed
//
// A process that has just lost its last user is about to end. It is told from
// a live one by the lock: with no lock but our own on the fifo nobody uses it,
// so it is left to its end and a fresh fifo takes its place. When the process
// was killed while containers use it, the next Ensure starts another one in
// the same namespace with the same fifo.
package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/network/ipam"
	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/filelock"
)

// Names and numbers that the bridges' side must know.
const (
	// GroupOutbound is the interface group of bridges whose containers may
	// reach the world; those of --internal networks are in group 0.
	GroupOutbound = 1
	// MarkForward marks the packets of published ports that carry the client's
	// own address; the packet filter finds their answers again and gives them
	// markAnswer, which the routing rules send to the waiting socket.
	MarkForward = 0x70726f61
	markAnswer  = 0x70726f62
	// MTU of the tap, and so of bridges: the user-mode stack's throughput
	// depends on it more than on anything else.
	MTU = 65520

	tapName = "tap0"
)

// Driver is the program that connects the namespace with the world.
type Driver string

const (
	Slirp4netns Driver = "slirp4netns"
	Pasta       Driver = "pasta"
	Netstack    Driver = "netstack"
	None        Driver = "none" // bridges and published ports only
)

// Info is uplink.json.
type Info struct {
	PID     int        `json:"pid"` // in the host's pid namespace
	NetnsFD int        `json:"netnsFd"`
	Inode   uint64     `json:"inode"` // of the namespace
	Driver  Driver     `json:"driver"`
	Host    netip.Addr `json:"host,omitzero"` // reaches the host's loopback, where that is allowed
	IPv6    bool       `json:"ipv6,omitempty"`
	// NoFilter says that the kernel has no nftables: no way out of the bridges,
	// and clients' addresses cannot be kept.
	NoFilter bool   `json:"noFilter,omitempty"`
	Warning  string `json:"warning,omitempty"`
}

type files struct{ dir string }

func (f files) lock() string { return filepath.Join(f.dir, "uplink.lock") }
func (f files) info() string { return filepath.Join(f.dir, "uplink.json") }
func (f files) fifo() string { return filepath.Join(f.dir, "uplink.fifo") }
func (f files) log() string  { return filepath.Join(f.dir, "uplink.log") }

func (f files) readInfo() (Info, error) {
	var i Info
	data, err := os.ReadFile(f.info())
	if err != nil {
		return i, err
	}
	return i, json.Unmarshal(data, &i)
}

func (f files) writeInfo(i Info) error {
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	tmp := f.info() + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, f.info())
}

func (f files) acquire(how int) (*os.File, error) {
	l, err := os.OpenFile(f.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Flock(l, how); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// openFIFO opens an end of the FIFO without waiting; errors.Is(err, unix.ENXIO)
// says that no process reads it. Where somebody has removed its name, any live
// monitor on a bridge leads to it. proc is a descriptor of the host's /proc.
func (f files) openFIFO(proc *os.File, flags int) (*os.File, error) {
	fifo, err := openFIFO(f.fifo(), flags)
	if !errors.Is(err, os.ErrNotExist) {
		return fifo, err
	}
	f.eachHolder(func(r ipam.Record) bool {
		var st unix.Stat_t
		path := fmt.Sprintf("/proc/self/fd/%d/%d/fd/%d", proc.Fd(), r.PID, r.FIFO)
		if r.FIFO == 0 || unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
			return true
		}
		fifo, err = openFIFO(path, flags)
		return false
	})
	return fifo, err
}

func openFIFO(path string, flags int) (*os.File, error) {
	fd, err := unix.Open(path, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	// Kept out of Go's poller: nobody ever reads or writes through it.
	return os.NewFile(uintptr(fd), path), nil
}

// Session is a container's share of the uplink.
type Session struct {
	Netns *os.File // the namespace of the bridges
	Info  Info
	// Dead says that nothing connects the namespace with the world: the
	// process was killed and nobody has repaired it yet.
	Dead bool
	fifo *os.File
}

// Close gives the share back.
func (s *Session) Close() {
	s.Netns.Close()
	s.fifo.Close()
}

// Join takes a share for a monitor; proc is a descriptor of the host's /proc.
// The front end has called Ensure and still holds its own share, or the
// monitor restarts a container by itself: then the uplink may be gone, which
// is an error of kind errs.Unavailable when no other container has kept the
// namespace.
func Join(stateDir string, proc *os.File) (*Session, error) {
	f := files{stateDir}
	l, err := f.acquire(unix.LOCK_EX)
	if err != nil {
		return nil, errs.Wrap(err, "join the uplink in", stateDir)
	}
	defer l.Close()
	info, err := f.readInfo()
	if err != nil {
		return nil, gone(err)
	}
	s := &Session{Info: info}
	if s.fifo, s.Dead, err = f.hold(proc); err != nil {
		return nil, gone(err)
	}
	s.Netns, err = netns.OpenOf(proc, info.PID, info.NetnsFD, info.Inode)
	if err != nil {
		s.Netns = f.fromHolders(proc, info.Inode)
	}
	if s.Netns == nil {
		s.fifo.Close()
		return nil, gone(err)
	}
	return s, nil
}

// FIFO is the descriptor that counts as this share.
func (s *Session) FIFO() int { return int(s.fifo.Fd()) }

// Restore lets others find the uplink again after the directory of its files
// was removed. Where another one has been started meanwhile it does nothing.
func (s *Session) Restore(stateDir string) error {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return err
	}
	f := files{stateDir}
	l, err := f.acquire(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := os.Lstat(f.info()); err == nil {
		return nil
	}
	return f.writeInfo(s.Info)
}

func gone(err error) error {
	return errs.WithHint(&errs.Error{Op: "reach the bridges of this user", Kind: errs.Unavailable, Err: err},
		"start the container again: proa sets the network up anew")
}

// hold opens the write end and locks it shared. Called under the lock: for a
// moment it may make itself a reader.
func (f files) hold(proc *os.File) (w *os.File, dead bool, err error) {
	w, err = f.openFIFO(proc, unix.O_WRONLY)
	if errors.Is(err, unix.ENXIO) {
		r, rerr := f.openFIFO(proc, unix.O_RDONLY)
		if rerr != nil {
			return nil, true, rerr
		}
		defer r.Close()
		dead = true
		w, err = f.openFIFO(proc, unix.O_WRONLY)
	}
	if err != nil {
		return nil, dead, err
	}
	return w, dead, filelock.Flock(w, unix.LOCK_SH)
}

// fromHolders finds the namespace through any live monitor on a bridge.
func (f files) fromHolders(proc *os.File, inode uint64) (ns *os.File) {
	f.eachHolder(func(r ipam.Record) bool {
		var err error
		ns, err = netns.OpenOf(proc, r.PID, r.NetnsFD, inode)
		return err != nil
	})
	return ns
}

// eachHolder calls yield with every live monitor on a bridge until it returns
// false.
func (f files) eachHolder(yield func(ipam.Record) bool) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		for _, r := range ipam.NewNames(filepath.Join(f.dir, e.Name())).All() {
			if !yield(r) {
				return
			}
		}
	}
}
