// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/proa-containers/proa/pkg/logs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/monitor/stream"
)

// openLog makes the log driver that the configuration names.
func openLog(cfg *monitor.Config) (stream.Logger, error) {
	c, err := logs.Parse(cfg.Logging, cfg.LogPath, cfg.LogAttrs)
	if err != nil {
		return nil, err
	}
	w, err := logs.Open(c)
	if err != nil {
		return nil, err
	}
	return logger{w}, nil
}

// logger is a log driver as the supervisor sees it.
type logger struct{ w logs.Writer }

func (l logger) Write(stderr bool, p []byte) error { return l.w.Write(streamOf(stderr), p) }
func (l logger) End(stderr bool) error             { return l.w.End(streamOf(stderr)) }
func (l logger) Close() error                      { return l.w.Close() }

func streamOf(stderr bool) logs.Stream {
	if stderr {
		return logs.Stderr
	}
	return logs.Stdout
}
