// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// The root service: one request and one answer, as JSON, per connection. It
// exists while the tests run and only their user can connect.

type rootRequest struct {
	Exec    []string // run this command
	Traces  *traces  // find what a script left
	Kill    *traces  // end what a script left
	Remove  string   // a directory below the stage or a run directory
	NoShell bool
}

type rootReply struct {
	Output string
	Found  []string
	Err    string
}

type rootService struct{ ln net.Listener }

func serveRoot(path string) (*rootService, error) {
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	s := &rootService{ln}
	go s.loop()
	return s, nil
}

func (s *rootService) close() { s.ln.Close() }

func (s *rootService) loop() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			var req rootRequest
			if err := json.NewDecoder(c).Decode(&req); err != nil {
				return
			}
			json.NewEncoder(c).Encode(req.serve())
		}()
	}
}

func (r rootRequest) serve() (reply rootReply) {
	var err error
	switch {
	case len(r.Exec) > 0:
		var out []byte
		out, err = exec.Command(r.Exec[0], r.Exec[1:]...).CombinedOutput()
		reply.Output = string(out)
	case r.Traces != nil:
		reply.Found = r.Traces.find()
	case r.Kill != nil:
		r.Kill.kill()
	case r.Remove != "":
		err = os.RemoveAll(r.Remove)
	}
	if err != nil {
		reply.Err = err.Error()
	}
	return reply
}

// askRoot is the child's side.
func askRoot(stageDir string, req rootRequest) (rootReply, error) {
	c, err := net.Dial("unix", filepath.Join(stageDir, "root.sock"))
	if err != nil {
		return rootReply{}, err
	}
	defer c.Close()
	if err := json.NewEncoder(c).Encode(req); err != nil {
		return rootReply{}, err
	}
	var reply rootReply
	if err := json.NewDecoder(c).Decode(&reply); err != nil {
		return rootReply{}, err
	}
	if reply.Err != "" {
		return reply, fmt.Errorf("%s", reply.Err)
	}
	return reply, nil
}
