// SPDX-License-Identifier: Apache-2.0

// Package logs writes what a container prints. It is linked into every
// monitor, so it stays small: reading is in logs/read, what the front end
// needs to prepare the options in logs/logopt.
package logs

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// The drivers.
const (
	JSONFile = "json-file" // Docker's format; the default
	K8sFile  = "k8s-file"  // the format of the Kubernetes container runtime interface
	None     = "none"
)

// Default is the driver for an empty name.
const Default = JSONFile

// MaxLine is the length in bytes at which a longer line is cut into several
// records, as in Docker.
const MaxLine = 16 << 10

// Stream says where a line was printed.
type Stream uint8

// The container's output streams; a container with a terminal has Stdout only.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// Record is one entry of a log: a line, or a part of one that was too long.
type Record struct {
	Time   time.Time
	Stream Stream
	// Partial: the line goes on in the next record of the stream.
	Partial bool
	Line    []byte // without the line feed
	// Attrs is the JSON object of the attributes of a record that was read; the
	// writer has them in its Config.
	Attrs []byte
}

// Writer takes the output of one container. Its methods may be called at the
// same time.
type Writer interface {
	// Write logs p, which was read from stream s. Everything up to the last
	// line feed is with the kernel when it returns, so killing the monitor
	// loses nothing of it; the rest waits for its line feed. An error means
	// that output was lost (disk full); later writes may succeed again. p is
	// not kept.
	Write(s Stream, p []byte) error
	// End logs the unfinished line of a stream: its process is gone, and what
	// the next one prints must not continue it.
	End(s Stream) error
	// Close logs the unfinished lines and closes. It may be called twice.
	Close() error
}

// Config is a driver with its options, checked.
type Config struct {
	Driver   string
	Path     string // of the current file; older ones are Path.1, Path.2, ...
	MaxSize  int64  // bytes; 0: no rotation
	MaxFiles int    // the current one included; at least 1
	Compress bool   // older files with gzip
	// Attrs are written with each record (json-file).
	Attrs map[string]string
}

// Drivers are the values of --log-driver.
var Drivers = []string{JSONFile, K8sFile, None}

// Parse checks the options that the user gave and makes them a Config. path is
// where the log goes unless the option "path" says otherwise. attrs is what
// logopt.Attrs made of the options labels, env and tag.
func Parse(l spec.Logging, path string, attrs map[string]string) (Config, error) {
	c := Config{Driver: l.Driver, Path: path, MaxFiles: 1, Attrs: attrs}
	if c.Driver == "" {
		c.Driver = Default
	}
	switch c.Driver {
	case JSONFile, K8sFile, None:
	default:
		return c, errs.WithHint(errs.New(errs.Unsupported, "log driver %q is not supported", c.Driver),
			"use --log-driver with one of %s", strings.Join(Drivers, ", "))
	}
	for k, v := range l.Options {
		if err := c.option(k, v); err != nil {
			return c, err
		}
	}
	if c.Compress && (c.MaxFiles < 2 || c.MaxSize == 0) {
		return c, errs.WithHint(errs.New(errs.Invalid, "compress cannot be true when max-file is less than 2 or max-size is not set"),
			"add --log-opt max-size=10m --log-opt max-file=3")
	}
	return c, nil
}

func (c *Config) option(k, v string) (err error) {
	bad := func(hint string) error {
		return errs.WithHint(errs.New(errs.Invalid, "invalid value %q for log option %q", v, k), "%s", hint)
	}
	switch k {
	case "max-size":
		if v == "-1" {
			return nil
		}
		if c.MaxSize, err = spec.ParseSize(v); err != nil || c.MaxSize <= 0 {
			return bad("write a size such as 10m, or -1 for no limit")
		}
	case "max-file":
		if c.MaxFiles, err = strconv.Atoi(v); err != nil || c.MaxFiles < 1 {
			return errs.WithHint(errs.New(errs.Invalid, "max-file cannot be less than 1"), "write --log-opt max-file=3")
		}
	case "compress":
		if c.Compress, err = strconv.ParseBool(v); err != nil {
			return bad("write true or false")
		}
	case "path":
		if !filepath.IsAbs(v) {
			return bad("write an absolute path")
		}
		c.Path = v
	case "mode":
		if v != "blocking" {
			return bad("only mode=blocking is there: files do not block")
		}
	case "labels", "labels-regex", "env", "env-regex", "tag":
		// Resolved by the front end; a format without room for them cannot
		// keep them.
		if c.Driver == K8sFile {
			return c.unknown(k)
		}
	default:
		return c.unknown(k)
	}
	return nil
}

func (c *Config) unknown(k string) error {
	known := "max-size, max-file, compress, path, mode"
	if c.Driver != K8sFile {
		known += ", labels, labels-regex, env, env-regex, tag"
	}
	return errs.WithHint(errs.New(errs.Invalid, "unknown log opt '%s' for %s log driver", k, c.Driver), "known are %s", known)
}

// Rotated is the name of the n-th older file of the log at path.
func Rotated(path string, n int) string { return path + "." + strconv.Itoa(n) }

// Open starts writing. The file is created or appended to; a last line that a
// killed monitor left unfinished is ended first.
func Open(c Config) (Writer, error) {
	switch c.Driver {
	case None:
		return discard{}, nil
	case K8sFile:
		return openFile(c, appendK8s)
	case JSONFile:
		return openFile(c, jsonEncoder(c.Attrs))
	}
	return nil, errs.New(errs.Internal, "log driver %q was not checked", c.Driver)
}

type discard struct{}

func (discard) Write(Stream, []byte) error { return nil }
func (discard) End(Stream) error           { return nil }
func (discard) Close() error               { return nil }
