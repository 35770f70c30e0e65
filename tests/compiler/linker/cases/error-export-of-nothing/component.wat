(component
  (core module $a (func (export "main")) (export "x" (func 5)))
  (core instance (instantiate $a)))
