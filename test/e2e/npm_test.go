// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// npmRegistry serves npm packages as a registry does: GET /NAME describes the
// versions, GET /NAME/-/NAME-VERSION.tgz is one of them.
type npmRegistry struct {
	packages map[string]npmPackage
	log      io.Writer // one line "METHOD path" per request
}

type npmPackage struct {
	manifest map[string]any // its package.json
	version  string
	tarball  []byte
}

// cmdNpmRegistry is "npm-registry ADDRESS VAR DIR LOG": until the script ends,
// every directory of DIR is served as a package at ADDRESS, on a port that VAR
// is set to. LOG gets the requests.
func cmdNpmRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: npm-registry address variable directory log")
	}
	reg := &npmRegistry{packages: map[string]npmPackage{}}
	dirs, err := os.ReadDir(ts.MkAbs(args[2]))
	ts.Check(err)
	for _, d := range dirs {
		p, err := packNpm(filepath.Join(ts.MkAbs(args[2]), d.Name()))
		ts.Check(err)
		reg.packages[d.Name()] = p
	}
	log, err := os.OpenFile(ts.MkAbs(args[3]), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	ts.Check(err)
	reg.log = log
	ln, err := net.Listen("tcp", net.JoinHostPort(args[0], "0"))
	ts.Check(err)
	srv := &http.Server{Handler: reg}
	go srv.Serve(ln)
	ts.Defer(func() {
		srv.Close()
		log.Close()
	})
	_, port, err := net.SplitHostPort(ln.Addr().String())
	ts.Check(err)
	ts.Setenv(args[1], port)
}

// packNpm makes the package of a directory as "npm pack" does: everything below
// "package/".
func packNpm(dir string) (npmPackage, error) {
	var p npmPackage
	data, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(data, &p.manifest); err != nil {
		return p, fmt.Errorf("%s/package.json: %w", dir, err)
	}
	p.version, _ = p.manifest["version"].(string)
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	tw := tar.NewWriter(zw)
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if err := tw.WriteHeader(&tar.Header{Name: path.Join("package", rel), Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = tw.Write(data)
		return err
	})
	if err != nil {
		return p, err
	}
	if err := tw.Close(); err != nil {
		return p, err
	}
	err = zw.Close()
	p.tarball = out.Bytes()
	return p, err
}

func (r *npmRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	fmt.Fprintln(r.log, req.Method, req.URL.Path)
	name, file, isTarball := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/-/")
	p, ok := r.packages[name]
	switch {
	case !ok || req.Method != http.MethodGet:
		http.NotFound(w, req)
	case !isTarball:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(p.packument(name, "http://"+req.Host))
	case file == name+"-"+p.version+".tgz":
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(p.tarball)
	default:
		http.NotFound(w, req)
	}
}

// packument is what npm reads about a package: its versions, and where each
// tarball is and what it must hash to.
func (p npmPackage) packument(name, base string) map[string]any {
	sum := sha512.Sum512(p.tarball)
	version := map[string]any{"dist": map[string]any{
		"tarball":   base + "/" + name + "/-/" + name + "-" + p.version + ".tgz",
		"integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:]),
	}}
	for k, v := range p.manifest {
		version[k] = v
	}
	return map[string]any{
		"name":      name,
		"dist-tags": map[string]any{"latest": p.version},
		"versions":  map[string]any{p.version: version},
	}
}
