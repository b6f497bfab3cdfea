// SPDX-License-Identifier: Apache-2.0

package images

import v1 "github.com/google/go-containerregistry/pkg/v1"

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// trees lists the layers' contents in the order in which they are made.
var trees = []tree{
	{name: "busybox", build: busyboxTree},
	{name: "alpine", build: overFiles(map[string]string{
		"etc/os-release":     "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.0\nPRETTY_NAME=\"Alpine Linux v3.20\"\n",
		"etc/alpine-release": "3.20.0\n",
	})},
	{name: "centos", build: overFiles(map[string]string{
		"etc/os-release":     "NAME=\"CentOS Linux\"\nVERSION=\"7 (Core)\"\nID=\"centos\"\nVERSION_ID=\"7\"\n",
		"etc/centos-release": "CentOS Linux release 7.9.2009 (Core)\n",
	})},
	{name: "hello", build: staticTree},
	{name: "debian", build: debianTree, net: true},
	{name: "nginx", build: withPackages("debian", nginxFiles, "nginx-light"), net: true},
	{name: "postgres", build: postgresTree, net: true},
	{name: "python", build: pythonTree, net: true},
	{name: "node", build: nodeTree, net: true},
	{name: "golang", build: golangTree},
}

// catalogue lists the images under their public names.
var catalogue = []image{
	{
		refs:   []string{"docker.io/library/busybox:latest", "docker.io/library/busybox:1.35"},
		layers: []string{"busybox"},
		config: v1.Config{Cmd: []string{"sh"}},
	},
	{
		refs:   []string{"docker.io/library/alpine:latest", "docker.io/library/alpine:3.5", "docker.io/library/alpine:3.7", "docker.io/library/alpine:3.20"},
		layers: []string{"alpine"},
		config: v1.Config{Cmd: []string{"/bin/sh"}},
	},
	{
		refs:   []string{"docker.io/library/centos:latest", "docker.io/library/centos:7"},
		layers: []string{"centos"},
		config: v1.Config{Cmd: []string{"/bin/bash"}, Labels: map[string]string{"org.label-schema.name": "CentOS Base Image"}},
	},
	{
		refs:   []string{"docker.io/library/hello-world:latest"},
		layers: []string{"hello"},
		config: v1.Config{Cmd: []string{"/hello"}},
	},
	{
		// An image that sets everything a container can inherit.
		refs:   []string{"docker.io/proa/config:latest"},
		layers: []string{"busybox"},
		config: v1.Config{
			User:         "guest",
			Env:          []string{defaultPath, "FROM_IMAGE=image", "BOTH=image"},
			Entrypoint:   []string{"/bin/echo", "entry"},
			Cmd:          []string{"cmd"},
			WorkingDir:   "/srv/work",
			Labels:       map[string]string{"maker": "image"},
			ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}},
			Volumes:      map[string]struct{}{"/vol": {}},
			StopSignal:   "SIGUSR1",
		},
	},
	{
		refs:   []string{"docker.io/library/debian:latest", "docker.io/library/debian:stable"},
		layers: []string{"debian"},
		config: v1.Config{Cmd: []string{"bash"}},
	},
	{
		refs:   []string{"docker.io/library/nginx:latest", "docker.io/library/nginx:alpine"},
		layers: []string{"debian", "nginx"},
		config: v1.Config{
			Env:          []string{defaultPath, "NGINX_VERSION=debian"},
			Entrypoint:   []string{"/docker-entrypoint.sh"},
			Cmd:          []string{"nginx", "-g", "daemon off;"},
			ExposedPorts: map[string]struct{}{"80/tcp": {}},
			StopSignal:   "SIGQUIT",
		},
	},
	{
		refs:   []string{"docker.io/library/postgres:latest"},
		layers: []string{"debian", "postgres"},
		config: v1.Config{
			Env:          []string{defaultPath, "PGDATA=/var/lib/postgresql/data"},
			Entrypoint:   []string{"docker-entrypoint.sh"},
			Cmd:          []string{"postgres"},
			ExposedPorts: map[string]struct{}{"5432/tcp": {}},
			Volumes:      map[string]struct{}{"/var/lib/postgresql/data": {}},
			StopSignal:   "SIGINT",
		},
	},
	{
		refs:   []string{"docker.io/library/python:latest", "docker.io/library/python:3"},
		layers: []string{"debian", "python"},
		config: v1.Config{Cmd: []string{"python3"}},
	},
	{
		refs:   []string{"docker.io/library/node:latest", "docker.io/library/node:18"},
		layers: []string{"debian", "node"},
		config: v1.Config{Cmd: []string{"node"}},
	},
	{
		refs:   []string{"docker.io/library/golang:latest", "docker.io/library/golang:alpine"},
		layers: []string{"alpine", "golang"},
		config: v1.Config{
			Env:        []string{"PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "GOPATH=/go", "GOTOOLCHAIN=local"},
			Cmd:        []string{"sh"},
			WorkingDir: "/go",
		},
	},
}

// nginxFiles set Debian's nginx up as the official image does: in the
// foreground, logs on the standard streams, one default server.
var nginxFiles = map[string]string{
	"docker-entrypoint.sh":     "#!/bin/sh\nset -e\nexec \"$@\"\n",
	"var/log/nginx/access.log": "-> /dev/stdout",
	"var/log/nginx/error.log":  "-> /dev/stderr",
	"etc/nginx/nginx.conf": `user www-data;
worker_processes 1;
error_log /var/log/nginx/error.log notice;
pid /run/nginx.pid;
events { worker_connections 512; }
http {
	include /etc/nginx/mime.types;
	default_type application/octet-stream;
	log_format main '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for"';
	access_log /var/log/nginx/access.log main;
	sendfile on;
	keepalive_timeout 65;
	server {
		listen 80;
		listen [::]:80;
		server_name localhost;
		location / { root /usr/share/nginx/html; index index.html; }
	}
}
`,
	"usr/share/nginx/html/index.html": `<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body><h1>Welcome to nginx!</h1></body>
</html>
`,
}

// postgresFiles is the essence of the official image's entry point.
var postgresFiles = map[string]string{
	"usr/local/bin/docker-entrypoint.sh": `#!/bin/sh
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
export PATH="$bin:$PATH"
if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA" /run/postgresql
	chown -R postgres:postgres "$PGDATA" /run/postgresql
	chmod 0700 "$PGDATA"
	exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
	[ -n "$POSTGRES_PASSWORD" ] || { echo "Error: POSTGRES_PASSWORD is not set" >&2; exit 1; }
	echo "$POSTGRES_PASSWORD" >/tmp/pw
	initdb --username="${POSTGRES_USER:-postgres}" --pwfile=/tmp/pw -D "$PGDATA"
	rm /tmp/pw
	echo "host all all all md5" >>"$PGDATA/pg_hba.conf"
	echo "jit = off" >>"$PGDATA/postgresql.conf"
	echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
fi
exec "$@"
`,
}
