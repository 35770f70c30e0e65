(module
  (type (func (result i32)))
  (import "env" "f" (func (; 0 ;) (; f ;) (type 0)))
  (func (; 1 ;) (type 0)
    call 0
    call 0
    i32.sub)
  (export "main" (func 1))
)
