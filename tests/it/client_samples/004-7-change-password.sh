curl -X POST http://localhost:4001/auth/change-password \
-H "Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..." \
-H "Content-Type: application/json" \
-d '{
"oldPassword": "SecurePass123!",
"newPassword": "NewSecurePass456!"
}'
