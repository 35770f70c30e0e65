(component
  (core module $a (import "env" "f" (func)) (func (export "main") (call 0)))
  (core instance (instantiate $a)))
