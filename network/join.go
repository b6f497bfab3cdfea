// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/proa-containers/proa/network/ipam"
	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// peerStatus is the part of a monitor's status.json that concerns networks.
type peerStatus struct {
	MonitorPID int             `json:"monitorPid"`
	NetnsFD    int             `json:"netnsFd"`
	Attachment spec.Attachment `json:"attachment"`
}

func readPeer(runDir string) (peerStatus, error) {
	var st peerStatus
	data, err := os.ReadFile(filepath.Join(runDir, "status.json"))
	if err == nil {
		err = json.Unmarshal(data, &st)
	}
	if err != nil || !ipam.Alive(runDir) {
		return st, errs.WithHint(&errs.Error{Kind: errs.State, Op: "join the network of a container that is not running", Err: err},
			"start that container first")
	}
	return st, nil
}

// OpenPeer opens the network namespace of the container whose monitor has
// runDir, for the mode container. A container in the host's network has none
// of its own: then the file is nil. The caller closes it.
func OpenPeer(runDir string, env Env) (*os.File, error) {
	st, err := readPeer(runDir)
	if err != nil {
		return nil, err
	}
	if st.Attachment.Mode == spec.NetHost {
		return nil, nil
	}
	proc, err := hostProc(env)
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	f, err := netns.OpenOf(proc, st.MonitorPID, st.NetnsFD, 0)
	return f, errs.Wrap(err, "join the network namespace of the container in", runDir)
}

// container shares what the other one has; the ports stay the other's.
func (a *Attached) container(plan spec.NetworkPlan) error {
	st, err := readPeer(plan.JoinRunDir)
	if err != nil {
		return err
	}
	a.att = st.Attachment
	a.att.Shared = st.Attachment.OwnMode()
	a.att.Mode = spec.NetContainer
	a.att.Ports = nil
	return nil
}
