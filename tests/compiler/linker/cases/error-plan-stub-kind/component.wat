(component
  (core module $a (func (export "main")) (memory (export "log") 1))
  (core instance (instantiate $a)))
