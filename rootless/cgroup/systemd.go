// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/rootless/userns"
)

const (
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = "/org/freedesktop/systemd1"
	systemdManager = "org.freedesktop.systemd1.Manager"
)

type property struct {
	Name  string
	Value dbus.Variant
}

// startScope asks the user's systemd for a scope around process pid that
// systemd leaves to us, and returns its cgroup.
func startScope(ctx context.Context, unit, slice, description string, pid int) (string, error) {
	conn, err := connect(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// Whoever asks too fast for an answer misses it: subscribe first.
	if err := conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(systemdManager), dbus.WithMatchMember("JobRemoved")); err != nil {
		return "", scopeError(unit, err)
	}
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	properties := []property{
		{"Description", dbus.MakeVariant(description)},
		{"Slice", dbus.MakeVariant(slice)},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})},
		{"Delegate", dbus.MakeVariant(true)},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	manager := conn.Object(systemdName, systemdPath)
	var job dbus.ObjectPath
	err = manager.CallWithContext(ctx, systemdManager+".StartTransientUnit", 0, unit, "fail", properties, []struct {
		Name       string
		Properties []property
	}{}).Store(&job)
	if err != nil {
		return "", scopeError(unit, err)
	}
	if err := waitJob(ctx, signals, job); err != nil {
		return "", scopeError(unit, err)
	}
	base, err := pathOf(pid)
	if err == nil && !strings.HasSuffix(base, "/"+unit) {
		err = fmt.Errorf("process %d is in %s afterwards", pid, base)
	}
	if err != nil {
		return "", scopeError(unit, err)
	}
	return base, nil
}

func scopeError(unit string, err error) error {
	return &errs.Error{Op: "make systemd scope", Kind: errs.Unavailable, Object: unit, Err: err,
		Hint: "see \"systemctl --user status\" and \"journalctl --user -n 20\""}
}

// waitJob waits for JobRemoved(id, job, unit, result) of our job.
func waitJob(ctx context.Context, signals <-chan *dbus.Signal, job dbus.ObjectPath) error {
	for {
		select {
		case s, open := <-signals:
			if !open {
				return errors.New("the bus closed the connection")
			}
			if len(s.Body) != 4 {
				continue
			}
			if p, _ := s.Body[1].(dbus.ObjectPath); p != job {
				continue
			}
			if result, _ := s.Body[3].(string); result != "done" {
				return fmt.Errorf("the job ended as %q", result)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// askDelegate asks the user's systemd whether a unit has Delegate=yes.
func askDelegate(unit string) bool {
	var kind string
	switch path.Ext(unit) {
	case ".service":
		kind = systemdName + ".Service"
	case ".scope":
		kind = systemdName + ".Scope"
	default:
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := connect(ctx)
	if err != nil {
		return false
	}
	defer conn.Close()
	var object dbus.ObjectPath
	if err := conn.Object(systemdName, systemdPath).CallWithContext(ctx, systemdManager+".GetUnit", 0, unit).Store(&object); err != nil {
		return false
	}
	var v dbus.Variant
	err = conn.Object(systemdName, object).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, kind, "Delegate").Store(&v)
	yes, _ := v.Value().(bool)
	return err == nil && yes
}

func connect(ctx context.Context) (*dbus.Conn, error) {
	uid := userns.UserID()
	socket := busSocket(uid)
	if socket == "" {
		return nil, errs.WithHint(errs.New(errs.Unavailable, "cannot find the bus of the systemd user manager"), "%s", fixNoManager)
	}
	conn, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(socket), dbus.WithContext(ctx))
	if err == nil {
		if err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(uid))}); err == nil {
			err = conn.Hello()
		}
		if err != nil {
			conn.Close()
		}
	}
	if err != nil {
		return nil, &errs.Error{Op: "connect to the systemd user manager at", Kind: errs.Unavailable, Object: socket, Err: err, Hint: fixNoManager}
	}
	return conn, nil
}
