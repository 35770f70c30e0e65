"""Made by freeze.py of openapi.yaml."""

import json

DOCUMENT = json.loads("""
{
 "openapi": "3.0.3",
 "info": {
  "title": "Orders",
  "version": "1.0"
 },
 "servers": [
  {
   "url": "https://api.example/v1"
  }
 ],
 "paths": {
  "/orders": {
   "get": {
    "parameters": [
     {
      "name": "status",
      "in": "query",
      "schema": {
       "type": "string",
       "enum": [
        "open",
        "paid",
        "sent"
       ]
      }
     },
     {
      "name": "limit",
      "in": "query",
      "schema": {
       "type": "integer",
       "minimum": 1,
       "maximum": 100
      }
     },
     {
      "name": "tag",
      "in": "query",
      "schema": {
       "type": "array",
       "maxItems": 3,
       "items": {
        "type": "string",
        "minLength": 1
       }
      }
     },
     {
      "name": "fields",
      "in": "query",
      "explode": false,
      "schema": {
       "type": "array",
       "items": {
        "enum": [
         "id",
         "items"
        ]
       }
      }
     },
     {
      "name": "min_price",
      "in": "query",
      "schema": {
       "type": "number",
       "minimum": 0
      }
     },
     {
      "name": "archived",
      "in": "query",
      "schema": {
       "type": "boolean"
      }
     }
    ],
    "responses": {
     "200": {
      "description": "some orders"
     }
    }
   },
   "post": {
    "requestBody": {
     "required": true,
     "content": {
      "application/json": {
       "schema": {
        "$ref": "#/components/schemas/Order"
       }
      }
     }
    },
    "responses": {
     "201": {
      "description": "a new order"
     }
    }
   }
  },
  "/orders/latest": {
   "get": {
    "responses": {
     "200": {
      "description": "an order"
     }
    }
   }
  },
  "/orders/{id}": {
   "parameters": [
    {
     "$ref": "#/components/parameters/id"
    }
   ],
   "get": {
    "responses": {
     "200": {
      "description": "an order"
     }
    }
   },
   "delete": {
    "parameters": [
     {
      "name": "If-Match",
      "in": "header",
      "required": true,
      "schema": {
       "type": "string",
       "pattern": "^\\"[0-9a-f]{8}\\"$"
      }
     }
    ],
    "responses": {
     "204": {
      "description": "no order any more"
     }
    }
   }
  },
  "/orders/{id}/notes/{name}": {
   "parameters": [
    {
     "$ref": "#/components/parameters/id"
    },
    {
     "name": "name",
     "in": "path",
     "required": true,
     "schema": {
      "type": "string",
      "maxLength": 20
     }
    }
   ],
   "put": {
    "requestBody": {
     "content": {
      "text/plain": {},
      "application/json": {
       "schema": {
        "type": "string",
        "nullable": true,
        "maxLength": 10
       }
      }
     }
    },
    "responses": {
     "204": {
      "description": "a note"
     }
    }
   }
  }
 },
 "components": {
  "parameters": {
   "id": {
    "name": "id",
    "in": "path",
    "required": true,
    "schema": {
     "type": "integer",
     "format": "int32",
     "minimum": 1
    }
   }
  },
  "schemas": {
   "Order": {
    "type": "object",
    "required": [
     "items"
    ],
    "additionalProperties": false,
    "properties": {
     "items": {
      "type": "array",
      "minItems": 1,
      "items": {
       "$ref": "#/components/schemas/Item"
      }
     },
     "coupon": {
      "type": "string",
      "nullable": true
     },
     "contact": {
      "type": "string",
      "format": "email"
     }
    }
   },
   "Item": {
    "type": "object",
    "required": [
     "sku",
     "quantity"
    ],
    "properties": {
     "sku": {
      "type": "string",
      "pattern": "^[A-Z]{3}-[0-9]+$"
     },
     "quantity": {
      "type": "integer",
      "format": "int32",
      "exclusiveMinimum": true,
      "minimum": 0
     },
     "price": {
      "type": "number",
      "multipleOf": 0.01
     },
     "parts": {
      "type": "array",
      "items": {
       "$ref": "#/components/schemas/Item"
      }
     }
    }
   }
  }
 }
}
""")
