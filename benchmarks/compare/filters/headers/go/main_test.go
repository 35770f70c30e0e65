package main

import (
	"os"
	"testing"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/proxytest"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

// One test each: a new VM with the filter, and a request and its response through it.

func BenchmarkNative(b *testing.B) {
	for b.Loop() {
		request(b, &vmContext{})
	}
}

func BenchmarkWasm(b *testing.B) {
	wasm, err := os.ReadFile("main.wasm")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		vm, err := proxytest.NewWasmVMContext(wasm)
		if err != nil {
			b.Fatal(err)
		}
		request(b, vm)
		vm.Close()
	}
}

func request(b *testing.B, vm types.VMContext) {
	host, reset := proxytest.NewHostEmulator(proxytest.NewEmulatorOption().WithVMContext(vm))
	defer reset()
	id := host.InitializeHttpContext()
	host.CallOnRequestHeaders(id, [][2]string{{":path", "/a"}, {":method", "GET"}, {":authority", "a"}}, true)
	host.CallOnResponseHeaders(id, [][2]string{{":status", "200"}}, true)
	if headers := host.GetCurrentResponseHeaders(id); len(headers) != 2 {
		b.Fatal(headers)
	}
}
